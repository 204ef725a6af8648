from urllib.request import Request, urlopen

from django.test import LiveServerTestCase, SimpleTestCase, TestCase, TransactionTestCase

from users.models import User


class Registered(TestCase):
    @classmethod
    def setUpTestData(cls):
        cls.ada = User.objects.create(email="ada@example.com")

    def test_the_data_of_the_class_is_there(self):
        User.objects.create(email="grace@example.com")
        assert User.objects.count() == 2

    def test_it_is_there_again_after_it_was_changed(self):
        assert User.objects.get() == self.ada
        User.objects.all().delete()


class Unregistered(TestCase):
    def test_a_user_is_registered_under_the_first_number(self):
        assert self.client.post("/users/ada@example.com").json() == {"id": 1}

    def test_so_is_the_next_one(self):
        assert self.client.post("/users/grace@example.com").json() == {"id": 1}


class Committed(TransactionTestCase):
    def test_a_user_is_registered_under_the_first_number(self):
        assert self.client.post("/users/ada@example.com").json() == {"id": 1}

    def test_so_is_the_next_one(self):
        assert self.client.post("/users/grace@example.com").json() == {"id": 1}


class Live(LiveServerTestCase):
    def test_what_the_server_commits_is_there(self):
        address = f"{self.live_server_url}/users/ada@example.com"
        with urlopen(Request(address, method="POST")) as answer:
            assert answer.status == 201
        assert User.objects.get().email == "ada@example.com"


class WithoutDatabase(SimpleTestCase):
    def test_nothing_is_found(self):
        assert self.client.get("/nowhere").status_code == 404
