from fx._frozen import module_names

hiddenimports = module_names("jit")
