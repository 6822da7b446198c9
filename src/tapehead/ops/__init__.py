"""Functions on tensors: the papers' equations, without modules or parameters."""
