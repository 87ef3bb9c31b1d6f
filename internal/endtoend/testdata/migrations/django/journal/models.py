from django.db import models


class User(models.Model):
    email = models.CharField(max_length=100, unique=True)

    class Meta:
        db_table = 'users'


class Entry(models.Model):
    user = models.ForeignKey(User, on_delete=models.CASCADE)
    title = models.CharField(max_length=255)
    content = models.TextField(null=True)
    amount = models.DecimalField(max_digits=12, decimal_places=2, default=0)
    happened_on = models.DateField(null=True, db_index=True)
    details = models.JSONField(null=True)
    mood = models.CharField(max_length=20, default='calm')
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        db_table = 'entries'
        constraints = [models.UniqueConstraint(fields=['user', 'title'], name='entries_user_title')]


class Kind(models.Model):
    a_boolean = models.BooleanField(default=False)
    an_integer = models.IntegerField(null=True)
    a_small = models.PositiveSmallIntegerField(null=True, db_index=True)
    a_bigint = models.BigIntegerField(null=True)
    a_double = models.FloatField(null=True)
    a_time = models.TimeField(null=True)
    a_datetime = models.DateTimeField(null=True, unique=True)
    a_duration = models.DurationField(null=True)
    a_binary = models.BinaryField(null=True)
    a_uuid = models.UUIDField(null=True, unique=True)
    an_address = models.GenericIPAddressField(null=True)
    a_slug = models.SlugField(max_length=30, default='')
    a_choice = models.CharField(max_length=5, choices=[('red', 'Red'), ('green', 'Green')], default='red')

    class Meta:
        db_table = 'kinds'
        constraints = [models.CheckConstraint(check=models.Q(an_integer__lt=1000), name='kinds_small')]
