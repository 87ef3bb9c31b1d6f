from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [('journal', '0001_initial')]
    operations = [
        migrations.AddField('entry', 'mood', models.CharField(default='calm', max_length=20)),
        migrations.AlterField('entry', 'title', models.CharField(max_length=255)),
        migrations.RenameField('entry', 'body', 'content'),
        migrations.AlterField('entry', 'happened_on', models.DateField(db_index=True, null=True)),
    ]
