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
