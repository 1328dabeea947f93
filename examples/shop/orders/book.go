package main

import (
	"slices"
	"strconv"
	"sync"
)

// Order is one order. Amount is in cents.
type Order struct {
	ID       int    `json:"id"`
	Customer string `json:"customer"`
	Product  int    `json:"product"`
	Amount   int    `json:"amount"`
	Charge   int    `json:"charge"`          // what payments calls the payment
	State    string `json:"state,omitempty"` // of the payment, in lists
}

// book keeps orders in memory. The zero value is empty.
type book struct {
	mu     sync.Mutex
	last   int
	orders map[int]Order // guarded by mu
}

func (b *book) add(o Order) Order {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.orders == nil {
		b.orders = map[int]Order{}
	}
	b.last++
	o.ID = b.last
	b.orders[o.ID] = o
	return o
}

func (b *book) get(id string) (Order, bool) {
	return b.update(id, func(*Order) {})
}

func (b *book) update(id string, change func(*Order)) (Order, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	o, found := b.find(id)
	if !found {
		return Order{}, false
	}
	change(&o)
	b.orders[o.ID] = o
	return o, true
}

func (b *book) remove(id string) (Order, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	o, found := b.find(id)
	delete(b.orders, o.ID)
	return o, found
}

// find returns an order by the id of a path. The caller holds mu.
func (b *book) find(id string) (Order, bool) {
	n, err := strconv.Atoi(id)
	if err != nil {
		return Order{}, false
	}
	o, found := b.orders[n]
	return o, found
}

func (b *book) of(customer string) []Order {
	b.mu.Lock()
	defer b.mu.Unlock()
	list := []Order{}
	for _, o := range b.orders {
		if o.Customer == customer {
			list = append(list, o)
		}
	}
	slices.SortFunc(list, func(x, y Order) int { return x.ID - y.ID })
	return list
}

// sales counts the orders of products.
func (b *book) sales(products []int) map[int]int {
	b.mu.Lock()
	defer b.mu.Unlock()
	sold := map[int]int{}
	for _, p := range products {
		sold[p] = 0
	}
	for _, o := range b.orders {
		if _, asked := sold[o.Product]; asked {
			sold[o.Product]++
		}
	}
	return sold
}
