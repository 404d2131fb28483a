"""Components that work, are tested, and beat no default by their own measurements.

They are options like any other (`train.weighing=gradnorm`), and load when one of their room is asked for.

| room | components | measured in |
|---|---|---|
| `train.weighing` | `uncertainty`, `gradnorm`, `dwa`, `blending` | docs/joint.md |
| `train.surgery` | `pcgrad`, `mgda`, `nash`, `upgrad`, `aligned`, `cagrad` | docs/joint.md |
| `train.modality_balance` | `modulation` | docs/joint.md |
| `model.impute`, `train.losses.impute` | the imputer of absent tokens and its loss | docs/missing.md |
"""
