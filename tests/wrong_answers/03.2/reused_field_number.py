"""The number of the coupon was free."""


def new_version():
    return """
struct Order {
  1: string item,
  2: i32 pieces,
  3: string note = "",
  4: i32 customer,
  5: optional string customer_name,
}

service Orders {
  Order place(1: Order order),
}
"""
