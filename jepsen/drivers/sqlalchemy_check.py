"""SQLAlchemy over psycopg: create, insert, query, fail, roll back, go on."""

import sys

import sqlalchemy
from sqlalchemy import String, create_engine, func, inspect, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column


class Base(DeclarativeBase):
    pass


class Person(Base):
    __tablename__ = "sqlalchemy_person"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(30), unique=True)
    age: Mapped[int | None]


engine = create_engine(f"postgresql+psycopg://postgres@127.0.0.1:{sys.argv[1]}/postgres")
Base.metadata.drop_all(engine)
Base.metadata.create_all(engine)
with Session(engine) as session:
    session.add_all([Person(name="ada", age=36), Person(name="grace", age=85), Person(name="alan")])
    session.commit()
    assert session.scalar(select(func.count()).select_from(Person)) == 3
    ada = session.scalars(select(Person).where(Person.name == "ada")).one()
    ada.age += 1
    session.commit()
    assert session.get(Person, ada.id).age == 37

    session.add(Person(name="ada"))
    try:
        session.commit()
        raise SystemExit("a duplicate name was accepted")
    except IntegrityError:
        session.rollback()
    session.delete(session.scalars(select(Person).where(Person.age.is_(None))).one())
    session.commit()
    assert session.scalars(select(Person.name).order_by(Person.name)).all() == ["ada", "grace"]
columns = [column["name"] for column in inspect(engine).get_columns("sqlalchemy_person")]
assert columns == ["id", "name", "age"], columns
print("sqlalchemy", sqlalchemy.__version__, "ok")
