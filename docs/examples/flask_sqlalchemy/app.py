"""Registers users, with Flask-SQLAlchemy."""

import os

from flask import Flask, abort
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    pass


db = SQLAlchemy(model_class=Base)


class User(db.Model):
    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str] = mapped_column(unique=True)


def create_app() -> Flask:
    app = Flask(__name__)
    app.config["SQLALCHEMY_DATABASE_URI"] = os.environ["DATABASE_URL"]
    db.init_app(app)
    app.add_url_rule("/users/<email>", view_func=register, methods=["POST"])
    app.add_url_rule("/users", view_func=list_emails)
    return app


def register(email: str) -> tuple[dict[str, int], int]:
    user = User(email=email)
    db.session.add(user)
    try:
        db.session.commit()
    except IntegrityError:
        abort(409)
    return {"id": user.id}, 201


def list_emails() -> list[str]:
    return list(db.session.scalars(select(User.email).order_by(User.email)))
