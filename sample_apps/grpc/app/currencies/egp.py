from fractions import Fraction


def written(cents):
    whole = Fraction(cents, 100)
    return f"{whole.numerator}/{whole.denominator} parts"
