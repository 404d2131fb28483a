"""Steps 2 to 4: mappings between spaces. Encoders, fusion, and the model that composes them."""
