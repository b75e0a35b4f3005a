// The services of lesson 03. Thrift's language: https://thrift.apache.org/docs/idl

enum Operation { ADD = 1, SUBTRACT = 2, MULTIPLY = 3, DIVIDE = 4 }

struct Item {
  1: string sku,
  2: i32 quantity,
}

// What may go wrong, as a client can see it.
exception CannotCalculate {
  1: i32 operation,
  2: string reason,
}

service Calculator {
  double calculate(1: Operation operation, 2: i64 left, 3: i64 right) throws (1: CannotCalculate refused)
}

// For the comparison, and for exercise 03.3.
service Shop {
  Item find(1: string sku),
  oneway void note(1: string text),
}
