"""Steps 2 to 4: mappings between spaces. Encoders, decoders, fusion, maps, and the model that composes them."""
