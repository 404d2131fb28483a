"""Where training episodes come from: task pools, the sampler, balance and augmentation."""
