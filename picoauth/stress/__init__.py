"""`picoauth stress`: loads a server as its users would, and says which link gives way first."""
