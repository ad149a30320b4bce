"""What people look at: pictures with boxes, sheets, colours, pages."""
