"""A new name gets a new number."""


def new_version():
    return """
struct Order {
  1: string item,
  // 2 was quantity, 3 was coupon
  4: i32 customer,
  5: string note = "",
  6: optional string customer_name,
  7: i32 pieces,
}

service Orders {
  Order place(1: Order order),
}
"""
