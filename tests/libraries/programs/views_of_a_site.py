"""Django: an asynchronous view, asked by a client of either kind, runs on the loop of who asks."""

import asyncio

import django
import loop_under_test
from django.conf import settings
from django.http import HttpRequest, JsonResponse
from django.test import AsyncClient, Client
from django.urls import path

settings.configure(ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__)
django.setup()


async def view(request: HttpRequest) -> JsonResponse:
    await asyncio.sleep(0)
    return JsonResponse({"loop": type(asyncio.get_running_loop()).__module__.partition(".")[0]})


urlpatterns = [path("", view)]


async def ask() -> dict[str, str]:
    answer = await AsyncClient().get("/")
    return dict(answer.json())


expected = {"loop": loop_under_test.NAME}
assert Client().get("/").json() == expected
assert asyncio.run(ask()) == expected
