from django.db import migrations, models
import django.db.models.deletion


class Migration(migrations.Migration):

    dependencies = [
        ('batches', '0009_fit'),
        ('plans', '0005_adjustments'),
    ]

    operations = [
        migrations.CreateModel(
            name='EvidenceState',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('state', models.JSONField(default=dict)),
                ('percent', models.FloatField(default=0.0)),
                ('verdict', models.CharField(default='undecided', max_length=16)),
                ('action', models.CharField(blank=True, max_length=16)),
                ('cause', models.CharField(blank=True, max_length=32)),
                ('kpi', models.CharField(blank=True, max_length=120)),
                ('sentence', models.TextField(blank=True)),
                ('may_pass', models.BooleanField(default=False)),
                ('estimated', models.BooleanField(default=False)),
                ('began_at', models.DateTimeField()),
                ('reached_at', models.DateTimeField(blank=True, null=True)),
                ('updated_at', models.DateTimeField()),
                ('plan', models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, related_name='evidence', to='plans.plan')),
            ],
        ),
        migrations.CreateModel(
            name='EvidenceLook',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('kpi', models.CharField(max_length=120)),
                ('at', models.DateTimeField()),
                ('log_e', models.FloatField(help_text='Logarithm of the evidence of this Kpi alone.')),
                ('percent', models.FloatField(help_text='Of this Kpi alone.')),
                ('together', models.FloatField(help_text='Percent of all Kpis together.')),
                ('together_log_e', models.FloatField(help_text='Logarithm of the evidence of all together.')),
                ('canary_errors', models.FloatField()),
                ('canary_requests', models.FloatField()),
                ('control_errors', models.FloatField()),
                ('control_requests', models.FloatField()),
                ('ratio', models.FloatField(blank=True, help_text="The canary's rate by the control's, within the batch.", null=True)),
                ('ratio_lower', models.FloatField(blank=True, null=True)),
                ('ratio_upper', models.FloatField(blank=True, null=True)),
                ('ratio_tolerated', models.FloatField(blank=True, null=True)),
                ('plan', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='evidence_looks', to='plans.plan')),
            ],
            options={
                'ordering': ('plan', 'at', 'pk'),
                'constraints': [models.UniqueConstraint(fields=('plan', 'kpi', 'at'), name='one_evidence_look_per_kpi_and_moment')],
            },
        ),
        migrations.CreateModel(
            name='EvidenceBaseline',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('kpi', models.CharField(max_length=120)),
                ('rates', models.JSONField(default=dict)),
                ('phi', models.FloatField(default=1.0)),
                ('short', models.CharField(blank=True, max_length=300)),
                ('taken_at', models.DateTimeField()),
                ('plan', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='evidence_baselines', to='plans.plan')),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('plan', 'kpi'), name='one_evidence_baseline_per_plan_and_kpi')],
            },
        ),
    ]
