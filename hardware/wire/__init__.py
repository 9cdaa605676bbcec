"""What goes over the wire: packets and control tables, without any input or output."""
