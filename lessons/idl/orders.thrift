// Orders, version 1: exercise 03.2 makes version 2 of it.

struct Order {
  1: string item,
  2: i32 quantity,
  3: optional string coupon,
  4: i32 customer,
}

service Orders {
  Order place(1: Order order),
}
