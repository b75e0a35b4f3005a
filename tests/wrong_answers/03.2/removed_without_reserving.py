"""Leaves no trace of the coupon."""


def new_version():
    return """
struct Order {
  1: string item,
  2: i32 pieces,
  4: i32 customer,
  5: string note = "",
  6: optional string customer_name,
}

service Orders {
  Order place(1: Order order),
}
"""
