from decimal import ROUND_HALF_EVEN, Decimal

RATE = Decimal("25.1")


def written(cents):
    crowns = (Decimal(cents) / 100 * RATE).quantize(Decimal(1), rounding=ROUND_HALF_EVEN)
    return f"{crowns} Kč"
