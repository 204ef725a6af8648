"""Why an order is not placed, and the HTTP status that says so."""


class OrderError(Exception):
    status = 500
    detail = ""


class UnknownProductError(OrderError):
    status, detail = 404, "There is no such product."


class OutOfStockError(OrderError):
    status, detail = 409, "Not that many are in stock."


class BeingPlacedError(OrderError):
    status, detail = 409, "This order is being placed already."


class PaymentRefusedError(OrderError):
    status, detail = 402, "The payment was refused."


class PaymentUnclearError(OrderError):
    status, detail = 504, "The payment service does not answer: send the same order again."
