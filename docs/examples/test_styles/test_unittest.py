import asyncio
import unittest

import pytest

from store import User, count, register


class Registered(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        register("of-the-class@example.com")

    def setUp(self):
        register("of-the-test@example.com")

    def test_one_more(self):
        self.assertEqual(register("ada@example.com"), 3)

    def test_begins_as_the_one_before(self):
        self.assertEqual(count(), 2)


class NoneIsLeft(unittest.TestCase):
    def test_what_a_class_has_written_is_gone(self):
        self.assertEqual(count(), 0)


class WithFixtures(unittest.TestCase):
    @pytest.fixture(autouse=True)
    def _session(self, pg_session):
        self.session = pg_session

    def test_a_session(self):
        self.session.add(User(email="ada@example.com"))
        self.session.commit()
        self.assertEqual(count(), 1)


class Asynchronous(unittest.IsolatedAsyncioTestCase):
    @pytest.fixture(autouse=True)
    def _session(self, pg_async_session):
        self.session = pg_async_session

    async def asyncSetUp(self):
        await asyncio.to_thread(register, "of-the-test@example.com")

    async def test_a_session(self):
        self.session.add(User(email="ada@example.com"))
        await self.session.commit()
        self.assertEqual(count(), 2)
