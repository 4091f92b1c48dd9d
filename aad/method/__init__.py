"""The method: what is minimised, in closed form and by training, the head that is learnt, and the views it is learnt from."""
