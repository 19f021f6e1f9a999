from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('batches', '0008_rulings_say_why'),
    ]

    operations = [
        migrations.CreateModel(
            name='KpiFit',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('kpi', models.CharField(max_length=120)),
                ('source', models.CharField(max_length=63)),
                ('digest', models.CharField(max_length=64)),
                ('probed_at', models.DateTimeField()),
                ('took_ms', models.PositiveIntegerField(default=0)),
                ('level', models.CharField(max_length=8)),
                ('findings', models.JSONField(blank=True, default=list)),
                ('tenants', models.PositiveIntegerField(default=0, help_text='How many were asked about.')),
                ('without', models.JSONField(blank=True, default=list, help_text='Tenants without data.')),
                ('facts', models.JSONField(blank=True, default=dict)),
            ],
            options={
                'ordering': ('kpi', 'source'),
                'constraints': [models.UniqueConstraint(fields=('kpi', 'source'), name='one_fit_per_kpi_and_source')],
            },
        ),
    ]
