"""A mail server that berth knows nothing of: a line of pytest.ini declares it."""

import json
import smtplib
from urllib.request import urlopen

import pytest


@pytest.fixture
def send(mailpit_server):
    """Send a mail, as the application would."""

    def send(to, subject):
        with smtplib.SMTP(mailpit_server.host, mailpit_server.port("smtp")) as client:
            client.sendmail("shop@example.com", [to], f"Subject: {subject}\n\nThank you!")

    return send


@pytest.fixture
def inbox(mailpit_server):
    """Return the subjects of all mails, the newest first."""

    def inbox():
        with urlopen(f"{mailpit_server.url('http')}/api/v1/messages") as answer:
            return [mail["Subject"] for mail in json.load(answer)["messages"]]

    return inbox


def test_a_customer_gets_a_mail(send, inbox):
    send("customer@example.com", "Your order")
    assert inbox() == ["Your order"]


def test_no_mail_of_another_test_is_there(inbox):
    assert inbox() == []
