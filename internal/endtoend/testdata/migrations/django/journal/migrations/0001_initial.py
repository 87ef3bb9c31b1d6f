import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True
    operations = [
        migrations.CreateModel(
            name='User',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('email', models.CharField(max_length=100, unique=True)),
            ],
            options={'db_table': 'users'},
        ),
        migrations.CreateModel(
            name='Entry',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('title', models.CharField(db_index=True, max_length=200)),
                ('body', models.TextField(null=True)),
                ('amount', models.DecimalField(decimal_places=2, default=0, max_digits=12)),
                ('happened_on', models.DateField(null=True)),
                ('details', models.JSONField(null=True)),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('updated_at', models.DateTimeField(auto_now=True)),
                ('user', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to='journal.user')),
            ],
            options={'db_table': 'entries'},
        ),
        migrations.CreateModel(
            name='Kind',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('a_boolean', models.BooleanField(default=False)),
                ('an_integer', models.IntegerField(null=True)),
                ('a_small', models.PositiveSmallIntegerField(db_index=True, null=True)),
                ('a_bigint', models.BigIntegerField(null=True)),
                ('a_double', models.FloatField(null=True)),
                ('a_time', models.TimeField(null=True)),
                ('a_datetime', models.DateTimeField(null=True, unique=True)),
                ('a_duration', models.DurationField(null=True)),
                ('a_binary', models.BinaryField(null=True)),
                ('a_uuid', models.UUIDField(null=True, unique=True)),
                ('an_address', models.GenericIPAddressField(null=True)),
                ('a_slug', models.SlugField(default='', max_length=30)),
                ('a_choice', models.CharField(choices=[('red', 'Red'), ('green', 'Green')], default='red', max_length=5)),
            ],
            options={'db_table': 'kinds'},
        ),
        migrations.AddConstraint(
            model_name='kind',
            constraint=models.CheckConstraint(check=models.Q(('an_integer__lt', 1000)), name='kinds_small'),
        ),
        migrations.AddConstraint(
            model_name='entry',
            constraint=models.UniqueConstraint(fields=('user', 'title'), name='entries_user_title'),
        ),
    ]
