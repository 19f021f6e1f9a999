import django.db.models.deletion
import uuid
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('plans', '0010_log_ins'),
    ]

    operations = [
        migrations.CreateModel(
            name='Grant',
            fields=[
                ('jti', models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ('action', models.CharField(max_length=32)),
                ('role', models.CharField(blank=True, max_length=64)),
                ('methods', models.JSONField(default=list, help_text='How the approver stepped up.')),
                ('payload', models.TextField(help_text='Base64 of the canonical JSON that is signed.')),
                ('sig', models.CharField(help_text='Base64 of the Ed25519 signature.', max_length=128)),
                ('kid', models.CharField(max_length=64)),
                ('issued_at', models.DateTimeField()),
                ('expires_at', models.DateTimeField()),
                ('consumed_at', models.DateTimeField(blank=True, null=True)),
                ('op', models.CharField(blank=True, max_length=160)),
                ('voided_at', models.DateTimeField(blank=True, null=True)),
                ('voided_why', models.CharField(blank=True, max_length=200)),
                ('approval', models.OneToOneField(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='grant', to='plans.approval')),
                ('approver', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('plan', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='grants', to='plans.plan')),
                ('request', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='grants', to='plans.approvalrequest')),
            ],
            options={
                'ordering': ('issued_at', 'jti'),
                'indexes': [models.Index(condition=models.Q(('consumed_at', None), ('voided_at', None)), fields=['expires_at'], name='grants_not_used_yet')],
                'constraints': [models.CheckConstraint(condition=models.Q(('consumed_at', None), ('voided_at', None), _connector='OR'), name='a_used_grant_is_not_void')],
            },
        ),
        migrations.CreateModel(
            name='BreakGlass',
            fields=[
                ('id', models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ('act', models.CharField(max_length=16)),
                ('batch', models.PositiveIntegerField(blank=True, null=True)),
                ('roles', models.JSONField(default=list, help_text='The roles that were passed over.')),
                ('told', models.JSONField(default=list, help_text='The ids of those who could have agreed.')),
                ('reason', models.TextField()),
                ('at', models.DateTimeField()),
                ('via', models.CharField(max_length=16)),
                ('review_due', models.DateTimeField()),
                ('reviewed_at', models.DateTimeField(blank=True, null=True)),
                ('verdict', models.CharField(blank=True, choices=[('justified', 'Justified'), ('not_justified', 'Not justified')], max_length=16)),
                ('review', models.TextField(blank=True)),
                ('by', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('grant', models.OneToOneField(on_delete=django.db.models.deletion.PROTECT, related_name='broken_glass', to='plans.grant')),
                ('plan', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='broken_glass', to='plans.plan')),
                ('reviewed_by', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'ordering': ('-at', 'pk'),
                'indexes': [models.Index(condition=models.Q(('reviewed_at', None)), fields=['review_due'], name='break_glass_not_reviewed')],
            },
        ),
    ]
