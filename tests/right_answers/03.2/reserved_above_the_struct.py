"""The comment stands before the struct, and counts as much there."""


def new_version():
    return """
/* Orders, version 2.
   Number 3, the coupon, is reserved. */
struct Order {
  1: string item
  2: i32 pieces
  4: i32 customer
  10: string customer_name
  11: string note = ""
}

service Orders {
  Order place(1: Order order)
}
"""
