"""So-Fake-R1: a vision-language policy that reasons, names the class and boxes the forgery. See README.md."""
