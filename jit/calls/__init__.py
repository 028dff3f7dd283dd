"""What stands between Python and native code: a call of a program from arrays to arrays, and operations evaluated at once."""
