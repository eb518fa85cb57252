"""How the two small networks of `deblur_cli.shake` are made: the predictor of gradients and the judge. Not installed."""
