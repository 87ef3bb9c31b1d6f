"""migrate.py VERSION [rows|fresh]: what `manage.py migrate journal VERSION` and the commands around it do, in one process."""
import datetime
import decimal
import io
import os
import sys
import uuid

import django
from django.conf import settings
from django.core.management import call_command
from django.db import DatabaseError, IntegrityError, connection, transaction
from django.db.backends.signals import connection_created


def push_key(connection, **_):
    token = os.environ['LATCHKEY_TOKEN']
    if token:
        with connection.cursor() as cursor:
            cursor.execute('SET @latchkey = %s', [token])


settings.configure(
    INSTALLED_APPS=['journal'],
    DATABASES={'default': {
        'ENGINE': 'django.db.backends.mysql',
        'HOST': os.environ['LATCHKEY_HOST'],
        'PORT': os.environ['LATCHKEY_PORT'],
        'USER': os.environ['LATCHKEY_USER'],
        'PASSWORD': os.environ['LATCHKEY_PASSWORD'],
        'NAME': os.environ['LATCHKEY_DATABASE'],
        'OPTIONS': {'charset': 'utf8mb4', 'init_command': "SET sql_mode = 'STRICT_TRANS_TABLES'"},
    }},
    DEFAULT_AUTO_FIELD='django.db.models.BigAutoField',
    USE_TZ=True,
)
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
django.setup()
connection_created.connect(push_key)


def command(*args, **options):
    out = io.StringIO()
    call_command(*args, stdout=out, stderr=out, no_color=True, **options)
    return out.getvalue()


def show_entries(model):
    for e in model.objects.order_by('id'):
        fields = [f for f in model._meta.concrete_fields if f.name not in ('created_at', 'updated_at')]
        print('entry', *('%s=%r' % (f.attname, getattr(e, f.attname)) for f in fields))


def first_rows():
    # The models are those of the second version, so the rows of the first are written as a data migration would.
    from django.db.migrations.loader import MigrationLoader
    apps = MigrationLoader(connection).project_state(('journal', '0001_initial')).apps
    user = apps.get_model('journal', 'User').objects.create(id=1, email='ann@example.org')
    entry = apps.get_model('journal', 'Entry')
    entry.objects.create(user=user, title='First day', body='It rained.\nStill.', amount=decimal.Decimal('12.50'),
                         happened_on=datetime.date(2024, 2, 29), details={'mood': ['calm', 1, None]})
    entry.objects.bulk_create([entry(user=user, title='Zweiter Tag \u2013 \u00fc\u00df', body=None), entry(user=user, title='\U0001f600 third', amount=-3)])
    show_entries(entry)


def second_rows():
    from journal.models import Entry
    show_entries(Entry)
    entry = Entry.objects.get(title='first DAY')
    entry.amount += 1
    entry.mood = 'glad'
    entry.content = ''
    entry.save()
    try:
        with transaction.atomic():
            Entry.objects.create(user_id=1, title='FIRST day')
    except IntegrityError as e:
        print('duplicate', e.args[0])
    Entry.objects.create(user_id=1, title='later', happened_on=datetime.date(2025, 1, 2))
    print('deleted', Entry.objects.filter(title__in=['\U0001f600 third', 'unknown']).delete())
    print('found', Entry.objects.filter(title='later').values_list('title', 'happened_on', 'mood', 'amount').get())
    show_entries(Entry)
    kinds()


def kinds():
    from journal.models import Kind
    Kind.objects.create()
    moment = datetime.datetime(2024, 2, 29, 23, 59, 59, 123456, tzinfo=datetime.timezone.utc)
    kind = Kind.objects.create(
        a_boolean=True, an_integer=-7, a_small=65535, a_bigint=-2**63, a_double=0.1, a_time=datetime.time(1, 2, 3, 4), a_datetime=moment,
        a_duration=datetime.timedelta(days=-1, microseconds=1), a_binary=b'\0\xff\'', a_uuid=uuid.UUID(int=7), an_address='::1', a_slug='a-slug',
        a_choice='green')
    kind.a_double = 1e300
    kind.save()
    for fields in ({'an_integer': 1000}, {'a_uuid': uuid.UUID(int=7)}, {'a_datetime': moment}, {'a_choice': 'too long'}, {'a_small': -1}):
        try:
            with transaction.atomic():
                Kind.objects.create(**fields)
        except DatabaseError as e:
            print(list(fields), e.args[0])
    print('found', Kind.objects.filter(a_uuid=uuid.UUID(int=7), a_datetime=moment).count())
    show_entries(Kind)


def main():
    version = sys.argv[1]
    if 'fresh' in sys.argv:
        print(command('flush', interactive=False))
    print(command('migrate', 'journal', {'1': '0001', '2': '0002'}[version]))
    print(command('showmigrations'))
    if version == '2':
        print(command('migrate', check_unapplied=True))
        print(command('makemigrations', check_changes=True, dry_run=True))
    print(command('inspectdb'))
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            print(table, *connection.introspection.get_table_description(cursor, table), sep='\n  ')
            for name, constraint in sorted(connection.introspection.get_constraints(cursor, table).items()):
                print(' ', name, {k: list(v) if k == 'columns' else v for k, v in constraint.items()})
    if 'rows' in sys.argv:
        print('## rows')
        {'1': first_rows, '2': second_rows}[version]()


main()
