import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('batches', '0013_evidence_replays'),
        ('plans', '0005_adjustments'),
    ]

    operations = [
        migrations.CreateModel(
            name='KpiCourse',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('kpi', models.CharField(max_length=120)),
                ('source', models.CharField(max_length=63)),
                ('looks', models.PositiveIntegerField(default=0)),
                ('blind', models.PositiveIntegerField(default=0)),
                ('points', models.JSONField(default=list)),
                ('up_to', models.PositiveBigIntegerField(default=0)),
                ('plan', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='kpi_courses', to='plans.plan')),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('plan', 'kpi'), name='one_course_per_plan_and_kpi')],
            },
        ),
    ]
