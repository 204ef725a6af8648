"""Where servers come from: external, container, local."""
