"""A better name for the method, too."""


def new_version():
    return """
struct Order {
  1: string item,
  2: i32 pieces,
  // 3 was coupon, and stays unused
  4: i32 customer,
  5: string note = "",
  6: optional string customer_name,
}

service Orders {
  Order place_order(1: Order order),
}
"""
