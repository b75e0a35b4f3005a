"""The customer becomes a text."""


def new_version():
    return """
struct Order {
  1: string item,
  2: i32 pieces,
  // 3 was coupon, and stays unused
  4: string customer,
  5: string note = "",
  6: optional string customer_name,
}

service Orders {
  Order place(1: Order order),
}
"""
