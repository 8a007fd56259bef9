"""The built-in plugins, one package for each family; the registry finds them by their entry points alone."""
