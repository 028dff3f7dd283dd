"""From kernels to addresses: LLVM IR as text, object code, linking."""
