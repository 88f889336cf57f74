"""The query language that callers ask in, as conditions and orders in SQL, with one meaning on both engines."""
