"""Closes the gap."""


def new_version():
    return """
struct Order {
  1: string item,
  2: i32 pieces,
  3: i32 customer,
  4: string note = "",
  5: optional string customer_name,
}

service Orders {
  Order place(1: Order order),
}
"""
