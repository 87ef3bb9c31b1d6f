"""migrate.py VERSION [rows]: SQLAlchemy's metadata, Alembic's operations and comparison, and reflection."""
import datetime
import decimal
import os
import sys

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy import (JSON, BigInteger, Column, Date, DateTime, ForeignKey, Index, MetaData, Numeric, String, Table, Text,
                        UniqueConstraint, create_engine, event, func, inspect, select, text)
from sqlalchemy.engine import URL
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, registry
from sqlalchemy.schema import CreateTable

engine = create_engine(URL.create(
    'mysql+pymysql', os.environ['LATCHKEY_USER'], os.environ['LATCHKEY_PASSWORD'], os.environ['LATCHKEY_HOST'],
    int(os.environ['LATCHKEY_PORT']), os.environ['LATCHKEY_DATABASE'], {'charset': 'utf8mb4'}))


@event.listens_for(engine, 'connect')
def push_key(connection, _):
    token = os.environ['LATCHKEY_TOKEN']
    if token:
        with connection.cursor() as cursor:
            cursor.execute('SET @latchkey = %s', (token,))


def declare(version):
    metadata = MetaData()
    Table('users', metadata, Column('id', BigInteger, primary_key=True), Column('email', String(100), nullable=False, unique=True))
    Table('entries', metadata,
          Column('id', BigInteger, primary_key=True),
          Column('user_id', BigInteger, ForeignKey('users.id', name='entries_user'), nullable=False),
          Column('title', String(200 if version == 1 else 255), nullable=False, index=version == 1),
          Column('body' if version == 1 else 'content', Text),
          Column('amount', Numeric(12, 2), nullable=False, server_default='0.00', comment="what it cost, in the user's currency"),
          Column('happened_on', Date),
          Column('details', JSON),
          Column('created_at', DateTime, nullable=False, server_default=text('current_timestamp()')),
          Column('updated_at', DateTime, nullable=False, server_default=text('current_timestamp() ON UPDATE current_timestamp()')),
          *([Column('mood', String(20), nullable=False, server_default='calm')] if version == 2 else []),
          UniqueConstraint('user_id', 'title', name='entries_user_title'))
    if version == 2:
        Index('entries_happened_on', metadata.tables['entries'].c.happened_on)
    return metadata


def upgrade(connection):
    operations = Operations(MigrationContext.configure(connection))
    operations.add_column('entries', Column('mood', String(20), nullable=False, server_default='calm'))
    operations.drop_index('ix_entries_title', 'entries')
    operations.alter_column('entries', 'title', type_=String(255), existing_nullable=False)
    operations.alter_column('entries', 'body', new_column_name='content', existing_type=Text, existing_nullable=True)
    operations.create_index('entries_happened_on', 'entries', ['happened_on'])


def show(connection):
    reflected = MetaData()
    reflected.reflect(connection)
    for table in reflected.sorted_tables:
        print(CreateTable(table))
    inspector = inspect(connection)
    for name in sorted(inspector.get_table_names()):
        print(name, inspector.get_table_options(name), inspector.get_table_comment(name))
        for part in inspector.get_columns(name) + inspector.get_indexes(name) + inspector.get_unique_constraints(name) + \
                inspector.get_foreign_keys(name) + inspector.get_check_constraints(name):
            print(' ', {k: repr(v) if k == 'type' else v for k, v in part.items()})


def show_entries(session, entry):
    for row in session.execute(select(entry).order_by(entry.c.id)).mappings():
        print('entry', {k: v for k, v in row.items() if k not in ('created_at', 'updated_at')})


class Entry:
    pass


class User:
    pass


def map_classes(metadata):
    mapper = registry(metadata)
    mapper.map_imperatively(User, metadata.tables['users'])
    mapper.map_imperatively(Entry, metadata.tables['entries'])


def make(cls, **fields):
    it = cls()
    for name, value in fields.items():
        setattr(it, name, value)
    return it


def first_rows(session, entry):
    session.add(make(User, id=1, email='ann@example.org'))
    session.flush()
    session.add(make(Entry, user_id=1, title='First day', body='It rained.\nStill.', amount=decimal.Decimal('12.50'),
                     happened_on=datetime.date(2024, 2, 29), details={'mood': ['calm', 1, None]}))
    session.add(make(Entry, user_id=1, title='Zweiter Tag \u2013 \u00fc\u00df'))
    session.add(make(Entry, user_id=1, title='\U0001f600 third', amount=-3))
    session.commit()
    show_entries(session, entry)


def second_rows(session, entry):
    show_entries(session, entry)
    found = session.query(Entry).filter_by(title='first DAY').one()
    found.amount += 1
    found.mood = 'glad'
    found.content = ''
    session.commit()
    try:
        session.add(make(Entry, user_id=1, title='FIRST day'))
        session.commit()
    except IntegrityError as e:
        print('duplicate', e.orig.args[0])
        session.rollback()
    session.add(make(Entry, user_id=1, title='later', happened_on=datetime.date(2025, 1, 2)))
    session.commit()
    print('deleted', session.query(Entry).filter(Entry.title.in_(['\U0001f600 third', 'unknown'])).delete(synchronize_session=False))
    print('found', session.query(Entry.title, Entry.happened_on, Entry.mood, Entry.amount).filter_by(title='later').one())
    print('counted', session.query(func.count(Entry.content)).scalar())
    session.commit()
    show_entries(session, entry)


def main():
    version = int(sys.argv[1])
    metadata = declare(version)
    with engine.begin() as connection:
        if version == 1:
            metadata.create_all(connection)
        elif 'mood' not in [c['name'] for c in inspect(connection).get_columns('entries')]:
            upgrade(connection)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={'compare_type': True, 'compare_server_default': True})
        differences = compare_metadata(context, metadata)
        if differences:
            raise AssertionError(differences)
        show(connection)
    if 'rows' in sys.argv:
        print('## rows')
        map_classes(metadata)
        with Session(engine) as session:
            {1: first_rows, 2: second_rows}[version](session, metadata.tables['entries'])


main()
