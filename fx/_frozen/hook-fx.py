from fx._frozen import data_files, module_names

hiddenimports = module_names("fx") + module_names("jit")
datas = data_files("fx")
