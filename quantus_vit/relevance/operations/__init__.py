"""The operations of a Vision Transformer, each with two backward modes: gradient and relevance."""
