"""Hot inner functions, parameterised by type and by the host's vector width."""
