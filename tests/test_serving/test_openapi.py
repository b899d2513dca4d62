"""Requests that the service's own OpenAPI document allows, and others, never fail it."""

import json

import hypothesis
import pytest
import schemathesis
from schemathesis import GenerationMode

SETTINGS = hypothesis.settings(
    max_examples=12,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[hypothesis.Phase.generate],
    suppress_health_check=list(hypothesis.HealthCheck),
)


@pytest.mark.slow
@pytest.mark.parametrize('path', ['/encode', '/locate', '/classify', '/search'])
def test_no_request_is_a_server_error(client, path):
    schema = schemathesis.openapi.from_dict(client.get('/openapi.json').json())
    statuses = set()

    def check(case):
        sent = case.as_transport_kwargs(base_url='http://testserver')
        content = sent.get('data')
        if 'json' in sent:
            content = json.dumps(sent['json'])
        headers = dict(sent['headers'], **{'Content-Type': 'application/json'})
        answer = client.request(sent['method'], sent['url'], content=content, headers=headers)
        statuses.add(answer.status_code)
        assert answer.status_code < 500, (content, answer.text)
        assert 'detail' in answer.json() or answer.status_code == 200

    for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
        cases = schema[path]['POST'].as_strategy(generation_mode=mode)
        SETTINGS(hypothesis.given(cases)(check))()
    assert 422 in statuses
