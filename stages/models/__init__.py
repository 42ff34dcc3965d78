"""Who answers: chat engines behind one small interface. Knows neither the tasks nor DVC."""
