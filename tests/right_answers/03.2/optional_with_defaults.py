"""Other numbers for the new fields, in another order."""


def new_version():
    return """
struct Order {
  7: optional string customer_name = "",
  1: optional string item,
  2: optional i32 pieces,
  4: optional i32 customer,
  9: optional string note = "",
  # reserved: 3, 5, 6
}

service Orders {
  Order place(1: Order order),
}
"""
