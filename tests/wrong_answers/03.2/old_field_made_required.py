"""No order without an item."""


def new_version():
    return """
struct Order {
  1: required string item,
  2: required i32 pieces,
  // 3 was coupon, and stays unused
  4: required i32 customer,
  5: string note = "",
  6: optional string customer_name,
}

service Orders {
  Order place(1: Order order),
}
"""
